"""One realistic message of each format, made after its documentation, and what reads one.

The person is ada on the device d-1, and it is noon of 21 November 2026 in UTC. The messages have the size and the
clutter that real ones have; tests change in them what they are about.
"""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import msgspec

from stream.core.events import AccountChange, Answer, Event, Login, MultipleEvents, Step
from stream.core.families.orders.messages import Paid
from stream.core.messages import Reader
from stream.inputs.options import Options
from stream.inputs.parts import Told
from stream.inputs.registry import reader
from tests.native import Message

NOON_MS = 1_795_262_400_000
NOON = "2026-11-21T12:00:00.000Z"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
CRAWLER = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"

_PAGE = {
    "path": "/pricing",
    "referrer": "https://www.example.org/",
    "search": "?utm_source=newsletter&utm_medium=email",
    "title": "Pricing – Example",
    "url": "https://app.example.com/pricing?utm_source=newsletter&utm_medium=email",
}

SEGMENT: dict[str, Any] = {
    "anonymousId": "d-1",
    "channel": "browser",
    "context": {
        "app": {"name": "Example", "version": "4.12.0", "build": "4120"},
        "campaign": {"source": "newsletter", "medium": "email"},
        "ip": "198.51.100.7",
        "library": {"name": "analytics.js", "version": "next-1.77.0"},
        "locale": "de-DE",
        "location": {"city": "Berlin", "country": "DE"},
        "page": _PAGE,
        "timezone": "Europe/Berlin",
        "traits": {"plan": "pro"},
        "userAgent": FIREFOX,
    },
    "integrations": {"All": True},
    "messageId": "ajs-next-1795262400000-8b1f3d5a",
    "name": "Pricing",
    "originalTimestamp": "2026-11-21T12:00:07.313Z",
    "properties": {**_PAGE, "experiments": ["a", {"b": 1}], "price": 12.5},
    "receivedAt": "2026-11-21T12:00:01.004Z",
    "sentAt": "2026-11-21T12:00:08.301Z",
    "timestamp": NOON,
    "type": "page",
    "userId": "ada",
    "version": 2,
}

RUDDERSTACK: dict[str, Any] = {
    "anonymousId": "d-1",
    "channel": "web",
    "context": {
        "app": {"name": "RudderLabs JavaScript SDK", "namespace": "com.rudderlabs.javascript", "version": "3.11.2"},
        "library": {"name": "RudderLabs JavaScript SDK", "version": "3.11.2"},
        "page": {**_PAGE, "tab_url": _PAGE["url"]},
        "screen": {"density": 2, "width": 1728, "height": 1117},
        "sessionId": 1795262390,
        "sessionStart": True,
        "traits": {"plan": "pro"},
        "userAgent": FIREFOX,
    },
    "integrations": {"All": True},
    "messageId": "2d1a6f35-0d24-4f88-a46c-1b1d1cbb4e0a",
    "name": "Pricing",
    "originalTimestamp": "2026-11-21T12:00:07.313Z",
    "properties": {**_PAGE, "name": "Pricing"},
    "receivedAt": "2026-11-21T12:00:01.004Z",
    "request_ip": "198.51.100.7",
    "rudderId": "5a1c7d6e-2f3b-4b6a-9d0e-7c8b9a0f1e2d",
    "sentAt": "2026-11-21T12:00:08.301Z",
    "timestamp": NOON,
    "type": "page",
    "userId": "ada",
}

SNOWPLOW: dict[str, Any] = {
    "app_id": "shop",
    "platform": "web",
    "etl_tstamp": "2026-11-21T12:00:03.101Z",
    "collector_tstamp": "2026-11-21T12:00:01.004Z",
    "dvce_created_tstamp": "2026-11-21T12:00:07.313Z",
    "event": "page_view",
    "event_id": "c6ef3124-b53a-4b13-a233-0088f79dcbcb",
    "name_tracker": "sp",
    "v_tracker": "js-4.6.2",
    "v_collector": "ssc-3.4.0-kafka",
    "v_etl": "snowplow-enrich-kafka-5.3.0",
    "user_id": "ada",
    "domain_userid": "d-1",
    "domain_sessionidx": 3,
    "network_userid": "n-1",
    "geo_country": "DE",
    "page_url": _PAGE["url"],
    "page_title": _PAGE["title"],
    "useragent": FIREFOX,
    "br_colordepth": "24",
    "dvce_screenwidth": 1728,
    "domain_sessionid": "s-1",
    "derived_tstamp": NOON,
    "event_vendor": "com.snowplowanalytics.snowplow",
    "event_name": "page_view",
    "event_format": "jsonschema",
    "event_version": "1-0-0",
    "contexts_com_snowplowanalytics_snowplow_web_page_1": [{"id": "a86c42e5-b831-45c8-b706-e214c26b4b3d"}],
}

# In the order of the documentation.
SNOWPLOW_COLUMNS = [
    "app_id",
    "platform",
    "etl_tstamp",
    "collector_tstamp",
    "dvce_created_tstamp",
    "event",
    "event_id",
    "txn_id",
    "name_tracker",
    "v_tracker",
    "v_collector",
    "v_etl",
    "user_id",
    "user_ipaddress",
    "user_fingerprint",
    "domain_userid",
    "domain_sessionidx",
    "network_userid",
    "geo_country",
    "geo_region",
    "geo_city",
    "geo_zipcode",
    "geo_latitude",
    "geo_longitude",
    "geo_region_name",
    "ip_isp",
    "ip_organization",
    "ip_domain",
    "ip_netspeed",
    "page_url",
    "page_title",
    "page_referrer",
    "page_urlscheme",
    "page_urlhost",
    "page_urlport",
    "page_urlpath",
    "page_urlquery",
    "page_urlfragment",
    "refr_urlscheme",
    "refr_urlhost",
    "refr_urlport",
    "refr_urlpath",
    "refr_urlquery",
    "refr_urlfragment",
    "refr_medium",
    "refr_source",
    "refr_term",
    "mkt_medium",
    "mkt_source",
    "mkt_term",
    "mkt_content",
    "mkt_campaign",
    "contexts",
    "se_category",
    "se_action",
    "se_label",
    "se_property",
    "se_value",
    "unstruct_event",
    "tr_orderid",
    "tr_affiliation",
    "tr_total",
    "tr_tax",
    "tr_shipping",
    "tr_city",
    "tr_state",
    "tr_country",
    "ti_orderid",
    "ti_sku",
    "ti_name",
    "ti_category",
    "ti_price",
    "ti_quantity",
    "pp_xoffset_min",
    "pp_xoffset_max",
    "pp_yoffset_min",
    "pp_yoffset_max",
    "useragent",
    "br_name",
    "br_family",
    "br_version",
    "br_type",
    "br_renderengine",
    "br_lang",
    "br_features_pdf",
    "br_features_flash",
    "br_features_java",
    "br_features_director",
    "br_features_quicktime",
    "br_features_realplayer",
    "br_features_windowsmedia",
    "br_features_gears",
    "br_features_silverlight",
    "br_cookies",
    "br_colordepth",
    "br_viewwidth",
    "br_viewheight",
    "os_name",
    "os_family",
    "os_manufacturer",
    "os_timezone",
    "dvce_type",
    "dvce_ismobile",
    "dvce_screenwidth",
    "dvce_screenheight",
    "doc_charset",
    "doc_width",
    "doc_height",
    "tr_currency",
    "tr_total_base",
    "tr_tax_base",
    "tr_shipping_base",
    "ti_currency",
    "ti_price_base",
    "base_currency",
    "geo_timezone",
    "mkt_clickid",
    "mkt_network",
    "etl_tags",
    "dvce_sent_tstamp",
    "refr_domain_userid",
    "refr_device_tstamp",
    "derived_contexts",
    "domain_sessionid",
    "derived_tstamp",
    "event_vendor",
    "event_name",
    "event_format",
    "event_version",
    "event_fingerprint",
    "true_tstamp",
]


def snowplow_line(**changed: object) -> bytes:
    """The same event as a line of tab-separated values, whose times have no offset."""
    told = {**SNOWPLOW, **changed}
    columns = [str(told.get(name) or "") for name in SNOWPLOW_COLUMNS]
    for place, name in enumerate(SNOWPLOW_COLUMNS):
        if name.endswith("_tstamp"):
            columns[place] = columns[place].replace("T", " ").removesuffix("Z")
    return "\t".join(columns).encode()


POSTHOG: dict[str, Any] = {
    "uuid": "01a9c1f0-6e8f-7a3b-8f20-2f1d0c9b8a77",
    "event": "$pageview",
    "distinct_id": "ada",
    "properties": {
        "$os": "Linux",
        "$browser": "Firefox",
        "$browser_version": 145,
        "$current_url": _PAGE["url"],
        "$device_id": "d-1",
        "$session_id": "s-1",
        "$window_id": "01a9c1f0-6e8c-7d10-b1f4-6e0b4c7d1f11",
        "$lib": "web",
        "$lib_version": "1.297.2",
        "$raw_user_agent": FIREFOX,
        "$geoip_country_code": "DE",
        "$app_version": "4.12.0",
        "$is_identified": True,
        "$set_once": {"$initial_referrer": "$direct"},
        "$active_feature_flags": ["new-pricing", "dark-mode"],
        "plan": "pro",
        "token": "phc_example",
    },
    "timestamp": NOON,
}

GA4: dict[str, Any] = {
    "event_date": "20261121",
    "event_timestamp": "1795262400000000",
    "event_name": "page_view",
    "event_params": [
        {"key": "page_location", "value": {"string_value": _PAGE["url"]}},
        {"key": "ga_session_id", "value": {"int_value": "1795262390"}},
        {"key": "ga_session_number", "value": {"int_value": "3"}},
        {"key": "engagement_time_msec", "value": {"int_value": "2150"}},
        {"key": "session_engaged", "value": {"string_value": "1"}},
        {"key": "page_title", "value": {"string_value": _PAGE["title"]}},
    ],
    "event_bundle_sequence_id": "1122334455",
    "user_id": "ada",
    "user_pseudo_id": "1234567890.1794000000",
    "privacy_info": {"analytics_storage": "Yes", "ads_storage": "Yes", "uses_transient_token": "No"},
    "user_properties": [{"key": "plan", "value": {"string_value": "pro", "set_timestamp_micros": "1795000000000000"}}],
    "user_first_touch_timestamp": "1794000000000000",
    "device": {"category": "desktop", "operating_system": "Linux", "web_info": {"browser": "Firefox"}},
    "geo": {"continent": "Europe", "country": "Germany", "region": "Berlin", "city": "(not set)"},
    "traffic_source": {"name": "(direct)", "medium": "(none)", "source": "(direct)"},
    "stream_id": "1234567",
    "platform": "WEB",
    "items": [],
    "is_active_user": True,
    "batch_event_index": "2",
    "batch_page_id": "1795262390123",
    "batch_ordering_id": "1",
}

MIXPANEL: dict[str, Any] = {
    "event": "$mp_web_page_view",
    "properties": {
        "time": 1795262400,
        "distinct_id": "ada",
        "$device_id": "d-1",
        "$user_id": "ada",
        "$insert_id": "29fc29626d9c455d95ad",
        "$browser": "Firefox",
        "$current_url": _PAGE["url"],
        "$lib_version": "2.71.0",
        "$os": "Linux",
        "$screen_height": 1117,
        "current_page_title": _PAGE["title"],
        "mp_country_code": "DE",
        "mp_lib": "web",
        "mp_processing_time_ms": 1795262401004,
        "plan": "pro",
    },
}

AMPLITUDE: dict[str, Any] = {
    "user_id": "ada",
    "device_id": "d-1",
    "session_id": 1795262390000,
    "time": NOON_MS,
    "event_type": "[Amplitude] Page Viewed",
    "event_id": 118,
    "insert_id": "0c1b7a86-55b1-4b2e-9f7d-6f3f1b7b5d2a",
    "platform": "Web",
    "os_name": "Firefox",
    "os_version": "145",
    "language": "de-DE",
    "country": "Germany",
    "app_version": "4.12.0",
    "ip": "198.51.100.7",
    "library": "amplitude-ts/2.20.0",
    "event_properties": {"[Amplitude] Page URL": _PAGE["url"], "[Amplitude] Page Counter": 4},
    "user_properties": {"plan": "pro", "initial_utm_source": "EMPTY"},
}

NATIVE: dict[str, Any] = {
    "user_id": "ada",
    "event_time": NOON_MS,
    "type": "page_view",
    "session_id": "s-1",
    "platform": "web",
    "plan": "pro",
    "country": "DE",
}

CLOUDEVENTS: dict[str, Any] = {
    "specversion": "1.0",
    "id": "A234-1234-1234",
    "source": "/shop/web",
    "type": "com.example.shop.page",
    "time": NOON,
    "subject": "ada",
    "datacontenttype": "application/json",
    "data": SEGMENT,
}

DELIGHTED: dict[str, Any] = {
    "event_type": "survey_response.created",
    "event_id": "6bb6ab0f8b2c47d49d5e",
    "event_data": {
        "id": "5435",
        "person": {"id": "5975", "email": "ada@example.com", "name": "Ada", "created_at": 1795000000},
        "survey_type": "nps",
        "score": 9,
        "comment": None,
        "permalink": "https://app.example.com/r/5pFDpmlyC8GU",
        "created_at": 1795262400,
        "updated_at": None,
        "person_properties": {"customer_id": "ada", "Locale": "de"},
        "notes": [],
        "tags": [],
        "additional_answers": [],
    },
}

TYPEFORM: dict[str, Any] = {
    "event_id": "01KAH3Z8M1",
    "event_type": "form_response",
    "form_response": {
        "form_id": "lT4Z3j",
        "token": "a3a12ec67a1365927098a606107fbc15",
        "landed_at": "2026-11-21T11:58:30Z",
        "submitted_at": "2026-11-21T12:00:00Z",
        "hidden": {"user_id": "ada", "utm_source": "mail"},
        "definition": {
            "id": "lT4Z3j",
            "title": "How was it?",
            "fields": [
                {"id": "NRsxU591jIW9", "title": "Recommend us?", "type": "nps", "ref": "recommend"},
                {"id": "WOTdC00F8A3h", "title": "And support?", "type": "rating", "ref": "support"},
                {"id": "DlXFaesGBpoF", "title": "Anything else?", "type": "long_text", "ref": "else"},
            ],
        },
        "answers": [
            {"type": "number", "number": 9, "field": {"id": "NRsxU591jIW9", "type": "nps", "ref": "recommend"}},
            {"type": "number", "number": 4, "field": {"id": "WOTdC00F8A3h", "type": "rating"}},
            {"type": "text", "text": "All fine", "field": {"id": "DlXFaesGBpoF", "type": "long_text", "ref": "else"}},
        ],
    },
}

SURVEYMONKEY: dict[str, Any] = {
    "id": "5007154325",
    "survey_id": "105723396",
    "collector_id": "50253586",
    "recipient_id": "0",
    "collection_mode": "default",
    "response_status": "completed",
    "total_time": 144,
    "date_created": "2026-11-21T11:57:36+00:00",
    "date_modified": "2026-11-21T12:00:00+00:00",
    "custom_variables": {"user_id": "ada"},
    "ip_address": "198.51.100.7",
    "logic_path": {},
    "page_path": [],
    "pages": [
        {
            "id": "103332310",
            "questions": [
                {
                    "id": "319352786",
                    "answers": [
                        {
                            "choice_id": "2567043595",
                            "row_id": "2567043584",
                            "choice_metadata": {"weight": "0"},
                            "simple_text": "9",
                        }
                    ],
                },
                {"id": "319352787", "answers": [{"choice_id": "777", "text": "Very satisfied"}]},
                {"id": "319352788", "answers": [{"text": "Quick and kind"}]},
            ],
        }
    ],
}

QUALTRICS: dict[str, Any] = {
    "result": {
        "responseId": "R_1exampleQbN0G2i",
        "values": {
            "startDate": "2026-11-21T11:57:36Z",
            "endDate": "2026-11-21T12:00:00Z",
            "status": 0,
            "ipAddress": "198.51.100.7",
            "progress": 100,
            "duration": 144,
            "finished": 1,
            "recordedDate": "2026-11-21T12:00:00.512Z",
            "_recordId": "R_1exampleQbN0G2i",
            "externalDataReference": "ada",
            "distributionChannel": "email",
            "userLanguage": "DE",
            "QID1": 9,
            "QID1_NPS_GROUP": 3,
            "QID4": 5,
            "QID5_TEXT": "Quick and kind",
        },
        "labels": {"status": "IP Address", "finished": "True", "QID1_NPS_GROUP": "Promoter"},
        "displayedFields": ["QID1", "QID4", "QID5_TEXT"],
        "displayedValues": {},
    },
    "meta": {"requestId": "f1f2", "httpStatus": "200 - OK"},
}

FORMBRICKS: dict[str, Any] = {
    "webhookId": "cm6wqkr3i0003s60bexample",
    "event": "responseFinished",
    "data": {
        "id": "cljr7zu8t0001pe0krdvcle6f",
        "createdAt": "2026-11-21T11:58:30.101Z",
        "updatedAt": "2026-11-21T12:00:00.000Z",
        "surveyId": "cljr6ozho0008pe0k5bc0yzh2",
        "finished": True,
        "contact": {"id": "cm0contact", "userId": "ada"},
        "contactAttributes": {"email": "ada@example.com", "customer": "ada"},
        "data": {"nps": 9, "cs7k2jzq": 4, "why": "Quick and kind", "channels": ["mail", "chat"]},
        "variables": {},
        "ttc": {"nps": 3200, "cs7k2jzq": 1800},
        "tags": [],
        "meta": {"url": "https://app.example.com", "userAgent": {"browser": "Firefox", "device": "desktop"}},
        "singleUseId": None,
        "language": "de",
        "displayId": "cm6display",
    },
}

CHATWOOT: dict[str, Any] = {
    "account": {"id": 1, "name": "Example"},
    "additional_attributes": {},
    "content_attributes": {
        "submitted_values": {"csat_survey_response": {"rating": 5, "feedback_message": "Quick and kind"}}
    },
    "content_type": "input_csat",
    "content": "Please rate the conversation",
    "conversation": {
        "id": 567,
        "channel": "Channel::WebWidget",
        "contact_inbox": {"id": 12, "contact_id": 89, "inbox_id": 3, "source_id": "b7f9"},
        "meta": {"sender": {"id": 89, "name": "Ada", "identifier": "ada", "type": "contact"}, "assignee": {"id": 4}},
        "status": "resolved",
        "created_at": 1795260000,
    },
    "created_at": "2026-11-21T11:30:00.000Z",
    "id": 1402,
    "inbox": {"id": 3, "name": "Website"},
    "message_type": "template",
    "private": False,
    "sender": None,
    "event": "message_updated",
}


BY_FORMAT: dict[str, dict[str, Any]] = {
    "native": NATIVE,
    "segment": SEGMENT,
    "rudderstack": RUDDERSTACK,
    "snowplow": SNOWPLOW,
    "posthog": POSTHOG,
    "ga4": GA4,
    "mixpanel": MIXPANEL,
    "amplitude": AMPLITUDE,
    "delighted": DELIGHTED,
    "typeform": TYPEFORM,
    "surveymonkey": SURVEYMONKEY,
    "qualtrics": QUALTRICS,
    "formbricks": FORMBRICKS,
    "chatwoot": CHATWOOT,
    "cloudevents": CLOUDEVENTS,
}


def changed(sample: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A sample with other fields; those that are None are left out. `a__b` is the field `b` of the field `a`."""
    told = deepcopy(sample)
    for path, value in fields.items():
        *outer, name = path.split("__")
        inner = told
        for part in outer:
            inner = inner[part]
        if value is None:
            inner.pop(name, None)
        else:
            inner[name] = value
    return told


def reads(format: str, **options: Any) -> Callable[..., Told]:  # noqa: A002
    """What reads a message of a format that is given as Python values, or as bytes."""
    read: Reader = reader(format=format, options=Options(**options))

    def read_told(told: Any, **record: Any) -> Told:
        value = told if told is None or isinstance(told, bytes) else msgspec.json.encode(told)
        return read(Message(value, **record))

    return read_told


def steps_in(told: Told) -> list[Step]:
    """The steps among what a message tells."""
    return [event for event in events_in(told) if isinstance(event, Step)]


def logins_in(told: Told) -> list[Login]:
    """The logins among what a message tells."""
    return [event for event in events_in(told) if isinstance(event, Login)]


def answers_in(told: Told) -> list[Answer]:
    """The answers among what a message tells."""
    return [event for event in events_in(told) if isinstance(event, Answer)]


def orders_in(told: Told) -> list[Paid]:
    """The payments and refunds among what a message tells."""
    return [event for event in events_in(told) if isinstance(event, Paid)]


def changes_in(told: Told) -> list[str]:
    """What a message tells of accounts, by its words."""
    return [event.change.value for event in events_in(told) if isinstance(event, AccountChange)]


def events_in(told: Told) -> list[Event]:
    """All that a message tells and that is counted."""
    return [event for _, event in told.events] if isinstance(told, MultipleEvents) else [told]


def words_in(told: Told) -> list[str]:
    """What a message tells that is left out, by its words."""
    return [word.value for word in told.left_out] if isinstance(told, MultipleEvents) else []
