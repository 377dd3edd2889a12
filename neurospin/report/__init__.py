"""What people see: figures, the report, the terminal."""
