"""What the chapters show: rows to HTML, a module for each kind of page."""
