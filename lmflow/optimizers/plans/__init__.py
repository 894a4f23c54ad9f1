"""What a plan is given, and how people steer it."""
