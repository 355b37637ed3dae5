"""The right to request tokens: who has it, and Roles that give it."""
