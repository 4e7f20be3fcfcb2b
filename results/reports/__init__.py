"""What a sweep ends with: the report page, the summary, the export and the study article."""
