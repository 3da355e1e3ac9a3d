"""The panels of the report, one module each."""
