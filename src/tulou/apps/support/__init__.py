"""Customer service: answers in the language of the question, from passages, or an honest no."""
