"""Measure what a stack leaves behind per day: files, bytes, rows, memory."""
