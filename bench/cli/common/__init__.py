"""Options and progress that several commands share."""
