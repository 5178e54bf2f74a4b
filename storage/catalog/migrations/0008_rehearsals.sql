-- A rehearsal is made anew each time it is asked for: what it would have done changes with routes and
-- quiet hours as well.
DROP TABLE rehearsals;
