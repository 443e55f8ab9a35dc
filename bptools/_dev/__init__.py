"""What only the checkout needs: the generator of pages and completions. Not part of the wheel."""
