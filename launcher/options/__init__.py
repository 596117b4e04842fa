"""Options of the command line, by what they are about, and what each makes of a job."""
