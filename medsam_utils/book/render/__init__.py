"""runs.yml -> executed notebooks -> book."""
