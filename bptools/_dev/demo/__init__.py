"""The main job on made-up data: raw chats to a model that answers, in minutes and without a network."""
