"""Picture files of others: opened by content with formats that are named here, checked before they are decoded."""
