"""What a measured run tells the capacity model."""
