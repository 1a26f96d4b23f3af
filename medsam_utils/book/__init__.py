"""What turns results into a book: pages, rendering, the explorer, the doctor. The core imports none
of it."""
