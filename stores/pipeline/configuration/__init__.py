"""The settings of tills: what administrators have set up, and how it reaches the channels."""
