"""The SQLite trace store: schema, migrations, the writer, readers, garbage collection,
verification.
"""
