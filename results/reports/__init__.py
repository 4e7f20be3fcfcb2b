"""Outputs of a sweep: the report page, the summary, the export and the study article."""
