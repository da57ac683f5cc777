"""What a reader sees of `results.json`: tables in the terminal and in LaTeX, a page, and the same page as Markdown."""
