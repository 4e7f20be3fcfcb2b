"""How far a sweep or an analysis is, on the screen and for other terminals."""
