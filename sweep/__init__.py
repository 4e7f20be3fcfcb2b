"""RUN it: spec, planner, Ray runner, provenance and the command line."""
