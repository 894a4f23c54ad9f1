"""The only code that reaches the outside: runs programs against models and tools and records every
call.
"""
