"""Where a job runs and what the user sees of it: local processes today, containers and SageMaker later."""
