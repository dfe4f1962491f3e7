"""Apps: customer service, content generation and the console, served through the gateway's port."""
