-- Normalization: removes blanks of every kind and invisible letters, so that rules judge what people see.
--
-- The letters are those of stores/values/characters.py; a test compares both files. There are blanks of every kind,
-- control characters, hidden letters (nothing is lost without them), joiners (they join letters), and selectors (they
-- choose the shape of a letter). Most texts are plain ASCII and need none of this. No function in SQL is STRICT, so
-- that PostgreSQL can inline it. What other texts need is in PL/pgSQL, which is not inlined: otherwise statements were
-- planned for longer than they ran. Those functions call none of ours, whatever the search path is.

-- Normalize a text that people wrote: without blanks and invisible letters at its ends, in Unicode NFC. Joiners and
-- selectors inside the text stay. So does a joiner at the end after certain signs, because old spellings of Malayalam
-- and Bengali show it.
CREATE OR REPLACE FUNCTION trim_unusual(value text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    RETURN normalize(regexp_replace(value,
                     '^['
                     '\u0009-\u000D\u001C- '  -- blanks
                     '\u0085\u00A0\u115F\u1160\u1680\u2000-\u200A\u2028\u2029\u202F\u205F\u2800\u3000\u3164\uFFA0'
                     '\u0001-\u0008\u000E-\u001B\u007F-\u0084\u0086-\u009F'  -- control characters
                     '\u00AD\u034F\u061C\u17B4\u17B5\u180E\u200B\u200E\u200F\u202A-\u202E'  -- hidden letters
                     '\u2060-\u206F\uFEFF\uFFF9-\uFFFB\U0001BCA0-\U0001BCA3\U0001D173-\U0001D17A'
                     '\u200C\u200D'  -- joiners
                     '\u180B-\u180D\u180F\uFE00-\uFE0F\U000E0000-\U000E007F\U000E0100-\U000E01EF'  -- selectors
                     ']+'
                     '|(?:['
                     '\u0009-\u000D\u001C- '  -- blanks
                     '\u0085\u00A0\u115F\u1160\u1680\u2000-\u200A\u2028\u2029\u202F\u205F\u2800\u3000\u3164\uFFA0'
                     '\u0001-\u0008\u000E-\u001B\u007F-\u0084\u0086-\u009F'  -- control characters
                     '\u00AD\u034F\u061C\u17B4\u17B5\u180E\u200B\u200E\u200F\u202A-\u202E'  -- hidden letters
                     '\u2060-\u206F\uFEFF\uFFF9-\uFFFB\U0001BCA0-\U0001BCA3\U0001D173-\U0001D17A'
                     '\u200C\u200D'  -- joiners
                     '](?<!['  -- but no joiner after one of these signs
                     '\u094D\u09CD\u0A4D\u0ACD\u0B4D\u0BCD\u0C4D\u0CCD\u0D4D\u0DCA'
                     ']\u200D))+$',
                     '', 'g'), NFC);
END $$;
CREATE OR REPLACE FUNCTION normalize_text(value text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN octet_length(value) <> char_length(value) OR value ~ '[\u0001-\u001F\u007F]'
            THEN trim_unusual(value)
            ELSE btrim(value) END;

-- Normalize a key, which is compared and looked up: a normalized text without invisible letters and with plain blanks only.
CREATE OR REPLACE FUNCTION plain_letters(value text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    RETURN translate(
                     regexp_replace(value,
                         '[\u00AD\u034F\u061C\u17B4\u17B5\u180E\u200B\u200E\u200F\u202A-\u202E'  -- hidden letters
                         '\u2060-\u206F\uFEFF\uFFF9-\uFFFB\U0001BCA0-\U0001BCA3\U0001D173-\U0001D17A'
                         '\u200C\u200D'  -- joiners
                         '\u180B-\u180D\u180F\uFE00-\uFE0F\U000E0000-\U000E007F\U000E0100-\U000E01EF]',  -- selectors
                         '', 'g'),
                     U&'\0085\00A0\115F\1160\1680\2000\2001\2002\2003\2004\2005\2006'
                       '\2007\2008\2009\200A\2028\2029\202F\205F\2800\3000\3164\FFA0',
                     '                        ');
END $$;
CREATE OR REPLACE FUNCTION normalize_key(value text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN octet_length(value) <> char_length(value) OR value ~ '[\u0001-\u001F\u007F]'
            THEN normalize_text(plain_letters(value))
            ELSE btrim(value) END;

-- A mail address with its domain in lower case. The part before the @ keeps its case.
CREATE OR REPLACE FUNCTION lower_domain(address text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN left(address, strpos(address, '@')) || lower(substr(address, strpos(address, '@') + 1));

-- Normalize a mail address: a normalized key whose letters have one width, with its domain in lower case.
CREATE OR REPLACE FUNCTION normalize_email(value text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN octet_length(value) <> char_length(value) OR value ~ '[\u0001-\u001F\u007F]'
                 OR value <> lower(value)
            THEN lower_domain(normalize(normalize_key(value), NFKC))
            ELSE btrim(value) END;

-- Normalize a telephone number: without "tel:", with hyphens for dashes and ASCII digits for those of other scripts. Each
-- line of digits below is one script.
CREATE OR REPLACE FUNCTION plain_phone(value text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    RETURN btrim(regexp_replace(
                     translate(value,
                         U&'\2010\2011\2012\2013\2014\2015\2212\30FC'
                           '\0660\0661\0662\0663\0664\0665\0666\0667\0668\0669'
                           '\06F0\06F1\06F2\06F3\06F4\06F5\06F6\06F7\06F8\06F9'
                           '\07C0\07C1\07C2\07C3\07C4\07C5\07C6\07C7\07C8\07C9'
                           '\0966\0967\0968\0969\096A\096B\096C\096D\096E\096F'
                           '\09E6\09E7\09E8\09E9\09EA\09EB\09EC\09ED\09EE\09EF'
                           '\0A66\0A67\0A68\0A69\0A6A\0A6B\0A6C\0A6D\0A6E\0A6F'
                           '\0AE6\0AE7\0AE8\0AE9\0AEA\0AEB\0AEC\0AED\0AEE\0AEF'
                           '\0B66\0B67\0B68\0B69\0B6A\0B6B\0B6C\0B6D\0B6E\0B6F'
                           '\0BE6\0BE7\0BE8\0BE9\0BEA\0BEB\0BEC\0BED\0BEE\0BEF'
                           '\0C66\0C67\0C68\0C69\0C6A\0C6B\0C6C\0C6D\0C6E\0C6F'
                           '\0CE6\0CE7\0CE8\0CE9\0CEA\0CEB\0CEC\0CED\0CEE\0CEF'
                           '\0D66\0D67\0D68\0D69\0D6A\0D6B\0D6C\0D6D\0D6E\0D6F'
                           '\0DE6\0DE7\0DE8\0DE9\0DEA\0DEB\0DEC\0DED\0DEE\0DEF'
                           '\0E50\0E51\0E52\0E53\0E54\0E55\0E56\0E57\0E58\0E59'
                           '\0ED0\0ED1\0ED2\0ED3\0ED4\0ED5\0ED6\0ED7\0ED8\0ED9'
                           '\0F20\0F21\0F22\0F23\0F24\0F25\0F26\0F27\0F28\0F29'
                           '\1040\1041\1042\1043\1044\1045\1046\1047\1048\1049'
                           '\1090\1091\1092\1093\1094\1095\1096\1097\1098\1099'
                           '\17E0\17E1\17E2\17E3\17E4\17E5\17E6\17E7\17E8\17E9'
                           '\1810\1811\1812\1813\1814\1815\1816\1817\1818\1819'
                           '\1946\1947\1948\1949\194A\194B\194C\194D\194E\194F'
                           '\19D0\19D1\19D2\19D3\19D4\19D5\19D6\19D7\19D8\19D9'
                           '\1A80\1A81\1A82\1A83\1A84\1A85\1A86\1A87\1A88\1A89'
                           '\1A90\1A91\1A92\1A93\1A94\1A95\1A96\1A97\1A98\1A99'
                           '\1B50\1B51\1B52\1B53\1B54\1B55\1B56\1B57\1B58\1B59'
                           '\1BB0\1BB1\1BB2\1BB3\1BB4\1BB5\1BB6\1BB7\1BB8\1BB9'
                           '\1C40\1C41\1C42\1C43\1C44\1C45\1C46\1C47\1C48\1C49'
                           '\1C50\1C51\1C52\1C53\1C54\1C55\1C56\1C57\1C58\1C59'
                           '\A620\A621\A622\A623\A624\A625\A626\A627\A628\A629'
                           '\A8D0\A8D1\A8D2\A8D3\A8D4\A8D5\A8D6\A8D7\A8D8\A8D9'
                           '\A900\A901\A902\A903\A904\A905\A906\A907\A908\A909'
                           '\A9D0\A9D1\A9D2\A9D3\A9D4\A9D5\A9D6\A9D7\A9D8\A9D9'
                           '\A9F0\A9F1\A9F2\A9F3\A9F4\A9F5\A9F6\A9F7\A9F8\A9F9'
                           '\AA50\AA51\AA52\AA53\AA54\AA55\AA56\AA57\AA58\AA59'
                           '\ABF0\ABF1\ABF2\ABF3\ABF4\ABF5\ABF6\ABF7\ABF8\ABF9',
                         '--------'
                         '0123456789012345678901234567890123456789012345678901234567890123456789'
                         '0123456789012345678901234567890123456789012345678901234567890123456789'
                         '0123456789012345678901234567890123456789012345678901234567890123456789'
                         '0123456789012345678901234567890123456789012345678901234567890123456789'
                         '0123456789012345678901234567890123456789012345678901234567890123456789'),
                     '^tel: *', '', 'i'));
END $$;
CREATE OR REPLACE FUNCTION normalize_phone(value text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN octet_length(value) <> char_length(value) OR value ~ '[\u0001-\u001F\u007F]'
                 OR strpos(lower(value), 'tel:') > 0
            THEN plain_phone(normalize(normalize_key(value), NFKC))
            ELSE btrim(value) END;
