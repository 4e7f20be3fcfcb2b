"""Tables of a sweep, and the formats that they are written in."""
