-- The database and its users. Run by the server's root with @owner, @site and @reader set to the
-- passwords; see README.md. Can be run again.

CREATE DATABASE IF NOT EXISTS cellyard CHARACTER SET utf8mb4;

DELIMITER //
CREATE OR REPLACE PROCEDURE cellyard.set_user(IN name VARCHAR(32), IN secret VARCHAR(200))
BEGIN
    -- CREATE USER takes no variables, so its text is put together here.
    SET @create_user = CONCAT('CREATE USER IF NOT EXISTS ', QUOTE(name), '@''%'' IDENTIFIED BY ', QUOTE(secret));
    SET @alter_user = CONCAT('ALTER USER ', QUOTE(name), '@''%'' IDENTIFIED BY ', QUOTE(secret));
    IF secret IS NULL OR secret = '' THEN
        SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'set @owner, @site and @reader to the passwords first';
    END IF;
    PREPARE create_user FROM @create_user;
    EXECUTE create_user;
    PREPARE alter_user FROM @alter_user;
    EXECUTE alter_user;
    SET @create_user = NULL, @alter_user = NULL;
END //

-- The reader sees every table but those that hold what a login needs.
CREATE OR REPLACE PROCEDURE cellyard.grant_reader()
BEGIN
    DECLARE name VARCHAR(64);
    DECLARE done BOOLEAN DEFAULT FALSE;
    DECLARE tables CURSOR FOR
        SELECT table_name FROM information_schema.tables
        WHERE table_schema = 'cellyard' AND table_type = 'BASE TABLE'
          AND table_name NOT IN ('accounts_person', 'accounts_token', 'lab_enroltoken', 'django_session');
    DECLARE CONTINUE HANDLER FOR NOT FOUND SET done = TRUE;
    OPEN tables;
    every_table: LOOP
        FETCH tables INTO name;
        IF done THEN
            LEAVE every_table;
        END IF;
        SET @grant_reader = CONCAT('GRANT SELECT ON cellyard.`', name, '` TO ''cellyard_reader''@''%''');
        PREPARE grant_reader FROM @grant_reader;
        EXECUTE grant_reader;
    END LOOP;
    CLOSE tables;
END //
DELIMITER ;

CALL cellyard.set_user('cellyard_owner', @owner);
CALL cellyard.set_user('cellyard', @site);
CALL cellyard.set_user('cellyard_reader', @reader);
GRANT ALL ON cellyard.* TO 'cellyard_owner'@'%';
GRANT SELECT, INSERT, UPDATE, DELETE ON cellyard.* TO 'cellyard'@'%';
CALL cellyard.grant_reader();

DROP PROCEDURE cellyard.set_user;
DROP PROCEDURE cellyard.grant_reader;
