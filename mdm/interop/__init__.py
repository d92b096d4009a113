"""What others read and write: weight files and model cards."""
