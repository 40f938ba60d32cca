"""`operant check`: what is wrong with an environment, before an agent learns the wrong thing from it."""
