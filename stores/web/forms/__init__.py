"""The forms of the pages, which commands use too; a module for each noun."""
