"""What every package uses: errors and exit codes, units, seeds, whole files, signals, text for any terminal."""
