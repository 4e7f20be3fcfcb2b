"""Figures of a sweep: style, label layout, plot data, curves and charts."""
