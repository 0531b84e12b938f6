"""The benchmark: what each hot action costs as a whole process, in time and in calls outside itself."""
