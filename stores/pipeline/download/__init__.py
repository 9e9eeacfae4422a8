"""HQ customers -> channels: accounts and changes, in packages."""
