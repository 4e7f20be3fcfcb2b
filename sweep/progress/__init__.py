"""Progress of a sweep: live view, status publisher, and progress of an analysis."""
