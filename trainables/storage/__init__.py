"""Files that every node reaches: in a shared folder or in an S3 bucket."""
