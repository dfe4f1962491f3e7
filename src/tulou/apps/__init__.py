"""The applications: customer service, content generation, feedback, and the pages people see them on."""
