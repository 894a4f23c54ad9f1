"""What is sent to models and tools and what comes back: messages, requests, replies, failures."""
