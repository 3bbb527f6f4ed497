-- name: publish
select hark.publish(%(reason)s, recipients => %(to)s::text[], entities => %(entities)s::text[], actor => %(actor)s,
                    about => %(about)s, payload => %(payload)s, occurred_at => %(at)s, published_at => %(at)s)
