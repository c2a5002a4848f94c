"""Pages for people: templates, charts and the words that go with the numbers."""
