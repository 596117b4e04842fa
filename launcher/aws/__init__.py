"""AWS as every command needs it: clients and their errors, folders in S3, settings."""
