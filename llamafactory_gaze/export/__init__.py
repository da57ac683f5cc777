"""What goes along with an exported model: its model card, and a mark until all of it is there."""
