"""What rests on LangChain's private callback machinery."""
