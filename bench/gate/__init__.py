"""The gate: is the candidate slower, or wrong?"""
