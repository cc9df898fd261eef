"""Models: what is known of them, their networks, and how an image is shown to them."""
