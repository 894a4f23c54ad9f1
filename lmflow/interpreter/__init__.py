"""The pure interpreter of programs: it renders steps into requests and parses replies, and performs
no I/O.

Who answers the requests, a model or a recording, is up to the driver's caller.
"""
