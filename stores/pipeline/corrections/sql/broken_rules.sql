-- The places of all rules that an event of HQ breaks.
SELECT {every_broken} FROM {incoming} incoming
