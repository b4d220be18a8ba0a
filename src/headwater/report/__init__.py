"""The HTML report, and two factories side by side."""
