"""Statistics: numbers in, small frozen struct out. numpy and scipy only."""
