"""What a set of embeddings is worth: pictures, tables and metrics, and one report of them all."""
