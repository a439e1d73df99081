PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE turn_secret (realm varchar(127), value varchar(256), primary key (realm,value));
INSERT INTO turn_secret VALUES('turn.example.org','north-of-the-river-and-south');
INSERT INTO turnusers_lt VALUES('turn.example.org','alice','bc807ee29df3c9ffa736523fb2c4e8ee');
INSERT INTO denied_peer_ip VALUES('','203.0.113.0-203.0.113.255');
COMMIT;
