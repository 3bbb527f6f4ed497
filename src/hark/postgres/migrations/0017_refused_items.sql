-- What a feed gave and a digest cannot hold breaks the statement that plans it, so that only its recipient is passed over.

create function hark.refuse_item() returns jsonb language plpgsql as $$
begin
    raise exception 'hark: a feed gave an item that no digest can hold: its key is null or empty, its time is not between the years 1900 and 9999, or its payload is no JSON object'
        using errcode = '22023';
end
$$;
